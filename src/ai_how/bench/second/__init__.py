"""Second opinions: other people's tools, asked the same of the same target when they are found on PATH.

A tool's figures stand beside ours under its name and decide nothing; where both disagree, somebody has to look.
"""
