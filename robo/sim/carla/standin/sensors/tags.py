"""Semantic tags of CARLA 0.9.16 and the colours of flat-shaded things."""

from __future__ import annotations

ROAD, SIDEWALK, BUILDING, POLE, TRAFFIC_LIGHT, TRAFFIC_SIGN = 1, 2, 3, 6, 7, 8
VEGETATION, TERRAIN, SKY, PEDESTRIAN, RIDER, CAR, TRUCK, BUS = 9, 10, 11, 12, 13, 14, 15, 16
MOTORCYCLE, BICYCLE, STATIC, DYNAMIC, ROAD_LINE, GROUND = 18, 19, 20, 21, 24, 25

Color = tuple[int, int, int]
"""Blue, green, red, 0 to 255."""

GRASS: Color = (78, 128, 104)
ASPHALT: Color = (86, 82, 80)
PAVEMENT: Color = (160, 166, 168)
CURB: Color = (196, 200, 200)
MEDIAN: Color = (86, 138, 112)
WHITE: Color = (232, 232, 232)
YELLOW: Color = (60, 190, 236)
GLASS: Color = (64, 50, 40)
ROOF: Color = (112, 112, 118)
WINDOW: Color = (112, 98, 84)
RUBBER: Color = (28, 28, 28)
METAL: Color = (104, 104, 100)
HEADLIGHT: Color = (226, 246, 250)
TAILLIGHT: Color = (44, 34, 190)
SKIN: Color = (140, 172, 214)
HORIZON: Color = (232, 214, 196)
ZENITH: Color = (206, 150, 92)

LAMPS: tuple[Color, Color, Color] = ((40, 40, 255), (0, 210, 255), (90, 255, 70))
"""Lit lamps of a traffic light: red, yellow, green (also its states 0, 1, 2)."""
DARK_LAMPS: tuple[Color, Color, Color] = ((16, 16, 60), (10, 46, 58), (22, 52, 18))

FACADES: tuple[Color, ...] = (
    (120, 148, 186),
    (150, 164, 176),
    (104, 120, 150),
    (168, 176, 178),
    (132, 142, 140),
    (110, 138, 196),
)
CLOTHES: tuple[Color, ...] = (
    (60, 60, 180),
    (170, 110, 50),
    (70, 140, 60),
    (40, 170, 210),
    (150, 70, 140),
    (90, 90, 90),
)
PAINTS: tuple[Color, ...] = (
    (150, 96, 40),
    (40, 40, 168),
    (206, 206, 206),
    (60, 60, 62),
    (74, 122, 58),
    (48, 150, 214),
    (150, 150, 156),
)
