"""Mini-VG's world: which objects there are, how each of the 50 predicates looks, and what annotators call it.

Every relation joins an *anchor* (a larger object of the scene) and a *satellite* placed relative to it. A
:class:`Rule` says where: ``u, v`` is the satellite's centre and ``w, h`` its size in units of the anchor's box,
(0, 0) its upper left and (1, 1) its lower right corner. ``u`` is mirrored in half of the cases, so left and right
carry no meaning. Two rules with the same coarse predicate occupy different places, which is what makes the fine
relation visible; their object pools overlap, so labels alone do not give it away.
"""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_IMAGES = 2700
"""Pictures of a default mini-VG, all splits together."""

FINE_RATE = 0.25
"""Share of a fine relation's occurrences that annotators call by its fine name; the rest gets the coarse one."""

RARE_SHARE = 0.0045
"""Smallest share of a predicate among all annotations; Visual Genome's own tail goes far below."""

POOL_SKEW = 2.0
"""The i-th class of a pool is drawn with weight 1 / i^POOL_SKEW."""

SECOND_ANNOTATOR = 0.15
"""Share of the fine annotations that a second annotator repeats with the coarse predicate."""

POOLS: dict[str, tuple[str, ...]] = {
    name: tuple(members.split())
    for name, members in {
        "human": "man woman person boy girl people guy child lady player kid men skier",
        "animal": "dog horse elephant cat cow bird giraffe zebra sheep bear animal",
        "vehicle": "car bus train truck boat plane vehicle airplane",
        "cycle": "motorcycle bike",
        "ride": "skateboard surfboard wave",
        "street": "street sidewalk track",
        "nature": "snow beach hill mountain wave rock",
        "furniture": "table bench chair bed desk counter shelf cabinet seat toilet stand",
        "building": "building house tower room",
        "plant": "tree plant branch flower",
        "pole": "pole post wire fence railing",
        "container": "plate bowl vase basket box pot cup sink drawer",
        "human part": "head hand hair arm leg face eye ear nose mouth neck finger",
        "animal part": "head ear leg tail eye trunk neck nose mouth paw wing",
        "vehicle part": "wheel window tire windshield light door seat engine wing handle",
        "building part": "window door roof light sign clock railing",
        "plant part": "leaf branch flower trunk fruit",
        "clothing": "shirt pant hat jacket helmet short shoe jean glass cap coat glove tie sock boot sneaker",
        "gear": "racket umbrella bag surfboard phone skateboard board bottle kite ski book cup",
        "tableware": "plate glass food cup bottle bowl book laptop vase lamp paper phone",
        "food": "pizza food banana fruit orange vegetable fork",
        "text": "letter number logo sign",
        "cloth": "pillow towel curtain paper flag",
        "fixture": "sign light clock lamp screen",
        "device": "laptop phone racket skateboard",
        "flyer": "bird plane kite airplane",
        "material": "tile glass wire paper rock",
        "cover": "snow leaf",
        "hull": "curtain roof umbrella towel",
    }.items()
}

ANCHOR_SIZE: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "human": ((0.24, 0.32), (0.56, 0.70)),
    "animal": ((0.36, 0.48), (0.40, 0.52)),
    "vehicle": ((0.42, 0.54), (0.38, 0.48)),
    "cycle": ((0.34, 0.44), (0.36, 0.46)),
    "ride": ((0.40, 0.52), (0.26, 0.34)),
    "street": ((0.52, 0.66), (0.34, 0.44)),
    "nature": ((0.50, 0.64), (0.38, 0.48)),
    "furniture": ((0.40, 0.52), (0.36, 0.46)),
    "building": ((0.38, 0.50), (0.50, 0.64)),
    "plant": ((0.30, 0.42), (0.48, 0.62)),
    "pole": ((0.18, 0.26), (0.56, 0.70)),
    "container": ((0.30, 0.40), (0.32, 0.42)),
    "text": ((0.30, 0.42), (0.26, 0.36)),
}
"""Width and height of an anchor as shares of the picture's width and height."""


@dataclass(frozen=True)
class Rule:
    """How one predicate looks.

    Args:
        predicate: the true relation.
        coarse: what annotators mostly call it; "" for a coarse predicate, which is always called by its name.
        pairs: anchor pool -> satellite pools.
        u, v, w, h: ranges of the satellite's centre and size, in units of the anchor's box.
        subject: which of the two is the relation's subject, "satellite" or "anchor".
        cue: how the satellite is drawn (posture, lights, fastening); "" = upright.
        behind: draw the satellite before the anchor, so that the anchor hides part of it.
    """

    predicate: str
    coarse: str
    pairs: dict[str, str]
    u: tuple[float, float]
    v: tuple[float, float]
    w: tuple[float, float]
    h: tuple[float, float]
    subject: str = "satellite"
    cue: str = ""
    behind: bool = False


_BEINGS = "human|animal"
# fmt: off
RULES: tuple[Rule, ...] = (
    # what people call "on"
    Rule("on", "", {"building": "building part|text", "furniture": "tableware|cloth|human", "container": "food",
                    "vehicle": "vehicle part|text", "street": "vehicle|cycle|human", "pole": "fixture",
                    "nature": "human|plant", "plant": "animal|plant part"},
         (.35, .65), (.28, .45), (.20, .32), (.20, .30)),
    Rule("sitting on", "on", {"furniture": _BEINGS, "nature": "human", "street": "human", "cycle": "human|animal"},
         (.25, .75), (.16, .32), (.34, .46), (.62, .80), cue="sit"),
    Rule("standing on", "on", {"nature": _BEINGS, "street": _BEINGS, "furniture": _BEINGS, "ride": "human"},
         (.20, .80), (-.12, .02), (.13, .19), (.80, 1.0), cue="stand"),
    Rule("walking on", "on", {"street": _BEINGS, "nature": _BEINGS},
         (.20, .80), (.46, .58), (.24, .32), (.66, .84), cue="walk"),
    Rule("lying on", "on", {"furniture": _BEINGS, "nature": "human", "ride": "human"},
         (.45, .55), (.06, .20), (.72, .92), (.26, .36), cue="lie"),
    Rule("laying on", "on", {"furniture": "cloth|tableware|animal|food", "container": "food", "nature": "gear"},
         (.30, .70), (.68, .82), (.42, .55), (.15, .22), cue="lie"),
    Rule("parked on", "on", {"street": "vehicle|cycle", "nature": "vehicle"},
         (.00, .12), (.66, .80), (.36, .46), (.38, .48), cue="parked"),
    Rule("riding", "on", {"animal": "human", "cycle": "human", "ride": "human"},
         (.42, .58), (-.05, .10), (.36, .48), (.88, 1.05), cue="ride"),
    Rule("mounted on", "on", {"pole": "fixture", "building": "fixture", "vehicle": "fixture|vehicle part"},
         (.42, .58), (.02, .10), (.48, .62), (.13, .20), cue="bolts"),
    Rule("attached to", "on", {"pole": "fixture|text", "building": "fixture|cloth", "vehicle": "vehicle part|text",
                               "plant": "plant part"},
         (.92, 1.08), (.26, .40), (.30, .40), (.18, .26), cue="bolts"),
    Rule("hanging from", "on", {"pole": "fixture|cloth", "building": "cloth|fixture", "plant": "plant part|food",
                                "furniture": "cloth"},
         (.30, .70), (1.02, 1.14), (.20, .30), (.36, .48), cue="cord"),
    Rule("growing on", "on", {"plant": "plant part", "nature": "plant", "street": "plant", "building": "plant"},
         (.15, .85), (-.12, -.02), (.28, .38), (.32, .42), cue="leaves"),
    Rule("painted on", "on", {"vehicle": "text", "building": "text", "street": "text", "text": "text"},
         (.42, .58), (.58, .70), (.56, .72), (.14, .22), cue="flat"),
    Rule("on back of", "on", {"vehicle": "vehicle part|text", "cycle": "vehicle part|human", "animal": "gear|human",
                              "furniture": "clothing|cloth"},
         (.86, .96), (.50, .66), (.20, .27), (.42, .56)),
    Rule("covering", "on", {"building": "cover|hull", "plant": "cover", "furniture": "hull", "nature": "cover",
                            "vehicle": "cover|hull"},
         (.46, .54), (.20, .32), (.94, 1.1), (.56, .72), cue="veil"),
    Rule("over", "on", {"furniture": "fixture|hull", "human": "hull", "street": "fixture|hull",
                        "building": "hull|fixture"},
         (.40, .60), (-.12, -.02), (.62, .80), (.30, .40)),
    Rule("above", "on", {"furniture": "tableware|fixture|cloth", "building": "building part|text",
                         "human": "fixture|clothing", "vehicle": "flyer|fixture"},
         (.25, .75), (-.06, .01), (.20, .30), (.16, .22)),
    # what people call "in"
    Rule("in", "", {"container": "food|plant part|plant", "vehicle": "human", "building": "human|furniture",
                    "nature": "human|animal", "human": "clothing|gear", "street": "human|animal"},
         (.38, .62), (.44, .56), (.36, .48), (.40, .52)),
    Rule("covered in", "in", {"plant": "cover", "nature": "cover", "vehicle": "cover", "building": "cover",
                              "furniture": "cover"},
         (.48, .52), (.48, .52), (1.08, 1.2), (1.08, 1.2), subject="anchor", cue="veil"),
    Rule("flying in", "in", {"nature": "flyer", "building": "flyer", "plant": "flyer"},
         (.20, .80), (.06, .16), (.30, .42), (.12, .18), cue="fly"),
    Rule("walking in", "in", {"nature": _BEINGS, "street": _BEINGS, "building": "human"},
         (.20, .80), (.76, .90), (.16, .22), (.50, .64), cue="walk"),
    # what people call "of"
    Rule("of", "", {"human": "human part", "animal": "animal part", "building": "building part",
                    "vehicle": "vehicle part", "plant": "plant part"},
         (.35, .65), (.12, .26), (.26, .36), (.16, .24)),
    Rule("part of", "of", {"human": "human part", "animal": "animal part", "building": "building part",
                           "vehicle": "vehicle part"},
         (.35, .65), (.64, .76), (.38, .50), (.28, .38)),
    Rule("belonging to", "of", {"human": "human part|gear", "animal": "animal part", "building": "building part",
                                "vehicle": "vehicle part"},
         (.04, .12), (.38, .54), (.20, .28), (.30, .40)),
    Rule("made of", "of", {"building": "material", "furniture": "material", "pole": "material",
                           "container": "material"},
         (.48, .52), (.48, .52), (.80, .92), (.80, .92), subject="anchor", cue="tiles"),
    Rule("from", "of", {"plant": "plant part", "vehicle": "vehicle part", "building": "fixture|building part"},
         (.92, 1.06), (.86, .98), (.26, .36), (.24, .34), cue="cord"),
    Rule("for", "of", {"text": "pole", "furniture": "human part|pole|cloth", "vehicle": "street|pole"},
         (.42, .58), (.98, 1.1), (.14, .20), (.46, .62)),
    Rule("to", "of", {"building": "building part", "vehicle": "vehicle part", "furniture": "container|building part"},
         (.40, .60), (.84, .92), (.14, .20), (.22, .28)),
    # what people call "has"
    Rule("has", "", {"human": "human part|clothing", "animal": "animal part", "building": "building part",
                     "vehicle": "vehicle part", "plant": "plant part", "furniture": "container|cloth",
                     "cycle": "vehicle part"},
         (.30, .70), (.30, .48), (.24, .36), (.18, .28), subject="anchor"),
    Rule("with", "has", {"human": "human part|gear|clothing", "animal": "animal part", "building": "building part",
                         "vehicle": "vehicle part", "container": "food", "plant": "plant part"},
         (.84, .94), (.14, .28), (.24, .32), (.22, .30), subject="anchor"),
    Rule("says", "has", {"text": "text", "vehicle": "text", "building": "text"},
         (.46, .54), (.40, .50), (.64, .80), (.28, .38), subject="anchor", cue="flat"),
    # what people call "wearing"
    Rule("wearing", "", {"human": "clothing"}, (.42, .58), (.36, .56), (.44, .58), (.18, .28), subject="anchor"),
    Rule("wears", "wearing", {"human": "clothing"},
         (.46, .54), (.66, .78), (.84, 1.0), (.36, .48), subject="anchor"),
    # what people call "near"
    Rule("near", "", {"furniture": "furniture|human", "building": "plant|building part|vehicle", "human": _BEINGS,
                      "animal": _BEINGS, "vehicle": "building part|human", "plant": "animal|furniture"},
         (1.05, 1.16), (.50, .64), (.36, .48), (.44, .56)),
    Rule("in front of", "near", {"building": "plant|vehicle|human", "furniture": "furniture|human", "human": _BEINGS,
                                 "vehicle": "human|cycle", "plant": "animal|furniture"},
         (.35, .65), (.86, .98), (.42, .56), (.44, .56)),
    Rule("at", "near", {"furniture": "human|furniture", "nature": "human", "street": "human"},
         (-.02, .08), (.10, .22), (.22, .30), (.80, 1.0), cue="sit"),
    Rule("between", "near", {"furniture": "furniture|human", "plant": "human|animal", "building": "plant|pole",
                             "human": _BEINGS},
         (.98, 1.04), (.45, .55), (.13, .18), (.96, 1.1)),
    Rule("and", "near", {"human": _BEINGS, "animal": _BEINGS, "furniture": "furniture"},
         (.90, .98), (.48, .54), (.86, 1.0), (.92, 1.04)),
    Rule("under", "near", {"furniture": "animal|gear|furniture", "vehicle": "vehicle part", "plant": _BEINGS,
                           "human": "ride"},
         (.35, .65), (1.0, 1.12), (.50, .66), (.24, .34)),
    Rule("looking at", "near", {"animal": _BEINGS, "container": _BEINGS, "human": _BEINGS, "text": "human"},
         (-.12, -.02), (.14, .28), (.46, .60), (.60, .74), cue="look"),
    Rule("watching", "near", {"animal": "human", "human": "human|animal", "vehicle": "human"},
         (1.02, 1.1), (.04, .14), (.20, .28), (.30, .42), cue="look"),
    Rule("against", "near", {"building": "gear|furniture|cycle", "pole": "cycle|gear", "furniture": "gear|furniture",
                           "plant": "gear|cycle"},
         (-.06, .04), (.58, .70), (.22, .30), (.70, .88), cue="lean"),
    Rule("along", "near", {"street": "pole|plant|building", "nature": "pole|plant"},
         (.46, .54), (.00, .08), (.90, 1.1), (.16, .24)),
    Rule("across", "near", {"street": "plant|building|pole", "nature": "building|plant"},
         (.20, .80), (-.28, -.16), (.34, .46), (.62, .80)),
    # what people call "holding"
    Rule("holding", "", {"human": "gear|food"}, (.88, 1.0), (.40, .54), (.40, .54), (.20, .28), subject="anchor"),
    Rule("carrying", "holding", {"human": "gear"},
         (.88, 1.0), (.70, .82), (.36, .48), (.32, .42), subject="anchor"),
    Rule("using", "holding", {"human": "device|gear"},
         (.44, .56), (.46, .56), (.34, .46), (.10, .15), subject="anchor"),
    Rule("eating", "holding", {"human": "food", "animal": "plant part|food"},
         (.40, .60), (.16, .24), (.20, .28), (.08, .13), subject="anchor"),
    Rule("playing", "holding", {"human": "device|gear"},
         (.36, .64), (.96, 1.06), (.54, .72), (.16, .24), subject="anchor"),
    # coarse without a finer name
    Rule("behind", "", {"human": "plant|building|pole", "animal": "plant|pole|building", "vehicle": "building|plant",
                        "furniture": "furniture|human", "plant": "building|pole"},
         (.25, .75), (-.10, .06), (.66, .86), (.62, .78), behind=True),
)
# fmt: on


def coarse_of() -> dict[str, str]:
    """Each predicate's annotators' name: its coarse partner, or itself."""
    return {rule.predicate: rule.coarse or rule.predicate for rule in RULES}
