"""Tokens on their way to a caller: text in whole characters, and server-sent events."""
