"""Everything that runs is killed, stopped and starved while commands are in flight, and then the log is examined.

`make chaos` runs all scenarios at length; the tests beside run the same ones in short.
"""
