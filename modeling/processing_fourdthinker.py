"""The processor of 4DThinker on the Qwen2.5-VL family."""

from transformers import Qwen2_5_VLProcessor

# transformers 5.2 copies from a local folder only the files that this one names itself.
from .animated_images import WebpSource  # noqa: F401
from .clip import Clip  # noqa: F401
from .errors import InputError  # noqa: F401
from .images import decode_image  # noqa: F401
from .processing import encode  # noqa: F401
from .processing_latent import LatentProcessorMixin
from .prompts import PROMPT_SUFFIX  # noqa: F401
from .readable_response import parse_response_text  # noqa: F401
from .response_template import RESPONSE_TEMPLATE  # noqa: F401
from .row_rules import special_token  # noqa: F401
from .tokens import LATENT_TOKENS  # noqa: F401
from .video_decoding import read_frames  # noqa: F401
from .video_file import VideoError  # noqa: F401
from .video_frames import FrameConverter  # noqa: F401
from .video_messages import read_clip  # noqa: F401
from .video_source import open_source  # noqa: F401
from .video_timeline import Timeline  # noqa: F401


class FourDThinkerProcessor(LatentProcessorMixin, Qwen2_5_VLProcessor):
    """Qwen2.5-VL's processor, which encodes a video as training does and reads a response back.

    Example:

    ```python
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained("models/trained", trust_remote_code=True)
    content = [{"type": "video", "video": "clip.mp4"}, {"type": "text", "text": "Which way does the camera move?"}]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt",
    )
    ```
    """


FourDThinkerProcessor.register_for_auto_class("AutoProcessor")
