"""An arm with lerobot's interface and no hardware, for the other side of the process boundary."""

from __future__ import annotations

import os
import time

import numpy as np


class Arm:
    """Two joints, a gripper and a camera; ``trouble`` says what goes wrong, and when."""

    name = "two joints"

    def __init__(self, trouble: str = "", after: int = 0) -> None:
        print("lerobot talks a lot on standard output")
        self.at = {"one.pos": 0.0, "two.pos": 10.0, "gripper.pos": 50.0}
        self.trouble, self.after, self.readings = trouble, after, 0
        self.connected = False

    @property
    def observation_features(self) -> dict:
        return {**dict.fromkeys(self.at, float), "wrist": (24, 32, 3)}

    @property
    def action_features(self) -> dict:
        return dict.fromkeys(self.at, float)

    def connect(self, calibrate: bool = True) -> None:
        if self.trouble == "port":
            raise ConnectionError("no such port")
        self.connected = True

    def get_observation(self) -> dict:
        self.readings += 1
        if self.trouble and self.readings > self.after:
            if self.trouble == "hang":
                time.sleep(30)
            if self.trouble == "die":
                os._exit(3)
            if self.trouble == "raise":
                raise TimeoutError("motor 2 does not answer")
        image = np.full((24, 32, 3), self.readings % 256, np.uint8)
        image[0, 0] = 255 - image[0, 0]
        return {**self.at, "wrist": image}

    def send_action(self, action: dict) -> dict:
        self.at.update(action)
        return action

    def disconnect(self) -> None:
        self.connected = False
