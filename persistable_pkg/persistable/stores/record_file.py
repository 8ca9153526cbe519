"""The file of a record, as far as stores look at it: the end of its name, and of its content. `persistable.records.record` has the rest."""

RECORD = ".record.json"
FAILED = ".failed.json"
"""The end of the name of a failure."""
SEAL = b',\n"checksum":"'
"""The bytes before the checksum, a CRC-32 of all before this in 8 hexadecimal digits."""
SEAL_BYTES = len(SEAL) + 8 + len(b'"}\n')
