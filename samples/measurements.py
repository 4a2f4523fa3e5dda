# SPDX-License-Identifier: MIT
"""Measurements of several processes in one list, which another one reads into NumPy while it grows.

    python samples/measurements.py    # starts three sensors, and says what they have measured

Each sensor is a process of its own and appends to the list; the reader needs no lock, and no copy, but NumPy.
"""

import argparse
import os
import subprocess
import sys
import time
from contextlib import ExitStack

from memorymapped import Struct, StructArray, float64, int32, int64


class Measurement(Struct):
    time: int64  # nanoseconds since 1970
    value: float64
    sensor: int32


def measure(name: str, sensor: int, count: int) -> None:
    with StructArray.open_existing(Measurement, name) as measurements:
        for i in range(count):
            measurements.append(Measurement(time.time_ns(), sensor + i % 5, sensor))


def collect(sensors: int, count: int) -> None:
    name = f"measurements of {os.getpid()}"
    with (
        StructArray(Measurement, name, 100, max_capacity=sensors * count) as measurements,
        ExitStack() as ends,
    ):
        for sensor in range(sensors):
            command = [sys.executable, __file__, "--measure", name, str(sensor), "--count", str(count)]
            ends.enter_context(subprocess.Popen(command))
        seen, largest = 0, float("-inf")
        while seen < sensors * count:
            if not measurements.wait_for_length(seen + 1, timeout=10):
                sys.exit("the sensors have been silent for 10 seconds")
            new = measurements.as_numpy()[seen:]
            largest = max(largest, new["value"].max())
            seen += len(new)
        table = measurements.as_numpy()
        print(f"{seen} measurements, up to {largest:.1f}")
        for sensor in range(sensors):
            values = table["value"][table["sensor"] == sensor]
            print(f"sensor {sensor}: {len(values)}, {values.mean():.2f} on average")


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--sensors", type=int, default=3)
parser.add_argument("--count", type=int, default=1000, help="of each sensor")
parser.add_argument("--measure", nargs=2, metavar=("NAME", "SENSOR"), help=argparse.SUPPRESS)
arguments = parser.parse_args()
if arguments.measure:
    measure(arguments.measure[0], int(arguments.measure[1]), arguments.count)
else:
    collect(arguments.sensors, arguments.count)
