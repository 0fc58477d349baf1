"""Where the time of a decoding step goes.

Measured with torch's profiler around steps of the native engine: see `__main__`.
"""
