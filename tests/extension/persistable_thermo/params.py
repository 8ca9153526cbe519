from persistable_thermo import Temperature


def reduced(temperature: Temperature) -> float:
    return temperature.kelvin
