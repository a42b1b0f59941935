"""Names of objects and wordings of reasoning by a language model behind an OpenAI-compatible endpoint."""
