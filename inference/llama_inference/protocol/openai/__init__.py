"""OpenAI's chat and completion requests and answers, in its shapes and with its defaults. No HTTP, no torch."""
