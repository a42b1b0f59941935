async (video) => {
  // The server deletes a video after the answer: the browser keeps it for the next question.
  if (!video || !video.url || window.keptVideo?.path === video.path) return [];
  const response = await fetch(video.url);
  if (response.ok) {
    window.keptVideo = { path: video.path, name: video.orig_name || "video.mp4", data: await response.blob(), sent: false };
  }
  return [];
}
