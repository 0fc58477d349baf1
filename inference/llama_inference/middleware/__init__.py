"""Plain ASGI middleware: each passes messages on untouched, so a token stream is never buffered."""
