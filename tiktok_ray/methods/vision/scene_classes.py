"""What kind of place a picture shows, by the ADE20K classes that its background consists of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Environment = Literal["indoor", "street", "nature", "water", "sky", "unknown"]

#: ADE20K classes that speak for an environment. What stands indoors and outdoors alike (door,
#: window, chair, table, plant, fence, stairs, signboard, light …) speaks for none.
EVIDENCE = {
    "indoor": "wall,floor,ceiling,bed,cabinet,curtain,painting,sofa,shelf,mirror,rug,armchair,desk,"
    "wardrobe,lamp,bathtub,cushion,chest of drawers,counter,sink,fireplace,refrigerator,pool table,"
    "pillow,bookcase,blind,coffee table,toilet,countertop,stove,kitchen island,swivel chair,towel,"
    "chandelier,television receiver,ottoman,buffet,washer,cradle,oven,microwave,dishwasher,blanket,"
    "hood,sconce,shower,radiator,computer,arcade machine,bar,stage,screen door,bulletin board",
    "street": "building,road,sidewalk,house,car,skyscraper,bus,truck,van,minibike,streetlight,"
    "traffic light,awning,bridge,runway,tower,hovel",
    "nature": "tree,grass,earth,mountain,field,rock,sand,hill,palm,dirt track,land,path",
    "water": "water,sea,river,lake,waterfall,swimming pool,boat,ship,pier",
    "sky": "sky,airplane",
}
SPEAKS_FOR = {label: place for place, labels in EVIDENCE.items() for label in labels.split(",")}

#: Least share of the background that must speak for some environment, and that one kind of place
#: outdoors must take beside the sky.
TELLING, BESIDE_SKY = 0.3, 0.1


def environment_of(background: NDArray[np.float64], labels: Sequence[str]) -> Environment:
    """Environment that the class shares [classes] of a background speak for."""
    place = np.array([SPEAKS_FOR.get(label, "") for label in labels])
    speak: dict[Environment, float] = {
        name: float(background[place == name].sum())
        for name in get_args(Environment)
        if name != "unknown"
    }
    outside: tuple[Environment, ...] = ("street", "nature", "water")
    grounded = sum(speak[name] for name in outside)
    if sum(speak.values()) < TELLING:
        return "unknown"
    if speak["indoor"] > grounded + speak["sky"]:
        return "indoor"
    return max(outside, key=lambda name: speak[name]) if grounded >= BESIDE_SKY else "sky"
