from typing import BinaryIO

from persistable.fileio import FileIO
from persistable_thermo import Temperature


class TemperatureFileIO(FileIO[Temperature]):
    suffix = ".temp"

    def dump(self, payload: Temperature, file: BinaryIO) -> None:
        file.write(repr(payload.kelvin).encode())

    def load(self, file: BinaryIO) -> Temperature:
        return Temperature(float(file.read()))
