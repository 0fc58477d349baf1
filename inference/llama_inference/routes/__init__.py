"""HTTP routes: each module turns requests into calls on the layers below, and results into answers."""
