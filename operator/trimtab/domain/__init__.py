"""What Trimtab talks about, as frozen types: no I/O, no clients, no clocks.

Everything below `api/convert.py` speaks these types; there is no dict, no `.get` and no string quantity here.
"""
