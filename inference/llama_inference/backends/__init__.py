"""One interface over what decides tokens: transformers' `generate`, and a mock for tests and measurements."""
