"""The parts of a record's file that stores look at: the end of its name and of its content. The rest is in `persistable.records.record`."""

RECORD = ".record.json"
FAILED = ".failed.json"
"""The end of the name of a failure's file."""
SEAL = b',\n"checksum":"'
"""The bytes before the checksum, a CRC-32 of all before this in 8 hexadecimal digits."""
SEAL_BYTES = len(SEAL) + 8 + len(b'"}\n')
