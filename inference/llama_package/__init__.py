"""What stands beside a Truss package in its container: a supervisor, and a launcher of the genuine truss server.

Nothing but the standard library, in Python 3.9's syntax: it runs on the package's own Python, whatever is installed
there. `llama-inference package-tools` copies this folder into the pod; `python3 llama_package` runs it.
"""
