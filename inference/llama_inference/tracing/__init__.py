"""Traces: the caller's W3C context taken up, and spans of each request, sent by OTLP where asked for."""
