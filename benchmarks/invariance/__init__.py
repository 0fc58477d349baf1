"""What scores cost that do not depend on company.

Two native engines over one model take the same steps in turns: see `__main__`.
"""
