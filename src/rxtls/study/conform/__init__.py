"""Conformance: the contract of a device as a suite of cases, run against any NIC.

stream.py      streams of records, good and hostile, with what a perfect device would make of every byte
bed.py         one NIC, packet by packet, and the rules that hold for every packet, whatever the case
cases.py       the cases: what is played, and what must come of it besides
suite.py       all cases over all kinds of keys, and the table
"""
