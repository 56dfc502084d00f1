"""The thirteen labelled organs of the abdominal phantom and their inner structures, in millimetres (RAS+).

Places and sizes are those of an adult in textbook proportions: a liver of 1.5 l on the right, a spleen of 0.25 l, the
right kidney half a vertebra below the left, the aorta left and the inferior vena cava right of the midline, the splenic
vein behind the pancreas, the adrenals above and medial to the kidneys.
"""

from regbench_tasks.phantom.abdomen_trunk import UNDER_DIAPHRAGM, plane
from regbench_tasks.phantom.shapes import boxed, common, ellipsoid, grown, tube, union, without

LABELS = {
    1: "spleen",
    2: "right kidney",
    3: "left kidney",
    4: "gallbladder",
    5: "esophagus",
    6: "liver",
    7: "stomach",
    8: "aorta",
    9: "inferior vena cava",
    10: "portal and splenic vein",
    11: "pancreas",
    12: "right adrenal gland",
    13: "left adrenal gland",
}

AORTA = tube(
    [(-20, -22, 290), (-19, -14, 235), (-15, -7, 190), (-11, -4, 140), (-9, -3, 95), (-7, -1, 40), (-3, -2, -12)],
    [13, 12.5, 12, 11.5, 10.5, 9.5, 9],
)
ILIAC_ARTERIES = union(
    tube([(-3, -2, -12), (22, -10, -48), (44, -18, -84), (62, 16, -140), (72, 52, -190)], [6, 6, 5.5, 5, 5]),
    tube([(-3, -2, -12), (-26, -10, -48), (-46, -18, -84), (-62, 16, -140), (-72, 52, -190)], [6, 6, 5.5, 5, 5]),
)
CAVA = tube(
    [(17, -12, -32), (20, -9, 20), (23, -5, 75), (26, 2, 120), (27, 7, 160), (23, 13, 198)],
    [10, 10.5, 11.5, 12, 12, 12.5],
    squash=(0.92, 1.12, 1.0),
)
ILIAC_VEINS = union(
    tube([(17, -12, -32), (34, -20, -60), (50, -24, -90), (56, 8, -140), (64, 46, -190)], [7.5, 7, 6.5, 6, 6]),
    tube([(17, -12, -32), (-14, -16, -52), (-40, -24, -84), (-54, 8, -140), (-62, 46, -190)], [7.5, 7, 6.5, 6, 6]),
)
PORTAL_TRUNK = tube([(7, 18, 70), (9, 18, 92), (22, 18, 112), (38, 20, 130), (48, 22, 138)], [6, 7, 7.5, 7.5, 6.5])
SPLENIC_VEIN = tube(
    [(9, 18, 93), (-12, 19, 102), (-34, 14, 112), (-56, -4, 118), (-74, -22, 128), (-82, -30, 136)],
    [6, 5.5, 5.2, 5, 5, 4.5],
)
PORTAL = union(PORTAL_TRUNK, SPLENIC_VEIN, blend=3)
PORTAL_BRANCHES = union(
    tube([(46, 22, 137), (62, 16, 142), (84, 6, 140), (106, -6, 128)], [6, 5.5, 4.2, 2.5]),
    tube([(62, 16, 142), (80, 28, 156), (98, 34, 166)], [5, 4, 2.5]),
    tube([(46, 22, 137), (28, 38, 150), (4, 50, 156), (-22, 52, 160)], [5.5, 4.8, 3.8, 2.2]),
    tube([(4, 50, 156), (8, 66, 136)], [3.8, 2.5]),
)
HEPATIC_VEINS = union(
    tube([(26, 8, 184), (54, 2, 180), (86, 0, 164), (116, 0, 132)], [5.5, 5, 4, 2.2]),
    tube([(25, 12, 186), (42, 32, 178), (58, 56, 156), (66, 70, 120)], [5, 4.5, 3.5, 2]),
    tube([(23, 14, 187), (6, 30, 182), (-16, 44, 172), (-34, 50, 166)], [5, 4, 3.2, 2]),
)
SMALL_ARTERIES = union(
    tube([(-9, 5, 122), (-8, 18, 124), (10, 24, 122), (30, 28, 128)], [4, 3.8, 3.2, 2.5]),
    tube([(-8, 18, 124), (-30, 16, 124), (-58, -4, 130), (-80, -24, 142)], [3.4, 3, 2.8, 2.5]),
    tube([(-9, 5, 108), (-5, 17, 98), (-2, 22, 70), (4, 30, 20)], [4, 4, 3.8, 2.5]),
    tube([(-9, -4, 96), (24, -14, 82), (44, -36, 72)], [3, 2.8, 2.5]),
    tube([(-9, -4, 98), (-30, -16, 92), (-44, -36, 86)], [3, 2.8, 2.5]),
)
RENAL_VEINS = union(
    tube([(22, -4, 82), (34, -20, 76), (46, -36, 70)], [5.5, 5, 5]),
    tube([(22, -2, 98), (-2, 10, 97), (-24, 0, 92), (-46, -36, 86)], [5, 4, 4.8, 5]),
    tube([(8, 20, 72), (12, 28, 40), (16, 34, 0)], [5.5, 5, 3.5]),
)

MESENTERIC_VESSELS = union(
    tube([(4, 30, 20), (20, 44, -10), (46, 46, -40)], [2.6, 2.2, 1.6]),
    tube([(4, 30, 20), (2, 46, -30), (-4, 50, -80)], [2.6, 2.2, 1.6]),
    tube([(4, 30, 20), (-22, 46, 0), (-52, 48, -30)], [2.4, 2.0, 1.6]),
    tube([(16, 34, 0), (34, 44, -36), (52, 40, -80)], [3.4, 2.8, 2.0]),
    tube([(16, 34, 0), (-10, 52, -40), (-36, 50, -84)], [3.2, 2.6, 2.0]),
    tube([(16, 34, 0), (-18, 54, 6), (-60, 48, 10)], [3.0, 2.4, 1.8]),
)

RIGHT_KIDNEY_BODY = ellipsoid((63, -44, 66), (28, 25, 55), (-8, 10, -30))
LEFT_KIDNEY_BODY = ellipsoid((-63, -46, 84), (28, 25.5, 57), (-8, -10, 30))
RIGHT_SINUS = ellipsoid((48, -36, 66), (17, 10, 23), (-8, 10, -30))
LEFT_SINUS = ellipsoid((-48, -38, 84), (17, 10, 24), (-8, -10, 30))
RIGHT_KIDNEY = without(RIGHT_KIDNEY_BODY, RIGHT_SINUS, blend=4)
LEFT_KIDNEY = without(LEFT_KIDNEY_BODY, LEFT_SINUS, blend=4)
RIGHT_MEDULLA = ellipsoid((60, -43, 66), (19, 15, 42), (-8, 10, -30))
LEFT_MEDULLA = ellipsoid((-60, -45, 84), (19, 15, 43), (-8, -10, 30))

STOMACH = union(
    ellipsoid((-62, 8, 168), (38, 40, 32), (0, 20, 0)),
    tube(
        [(-64, 18, 158), (-62, 38, 130), (-48, 54, 104), (-20, 58, 88), (8, 50, 86), (24, 44, 92)],
        [34, 33, 28, 23, 17, 10],
    ),
    blend=18,
)
STOMACH_WALL_MM = 4.5
DUODENUM = tube(
    [(26, 44, 92), (44, 32, 98), (52, 16, 78), (48, 12, 50), (24, 14, 38), (-4, 14, 40), (-22, 14, 58), (-30, 26, 56)],
    [10, 12, 13, 13, 12, 11, 11, 11],
)
ESOPHAGUS = tube(
    [(-6, -8, 300), (-5, -2, 240), (-7, 8, 205), (-14, 14, 184), (-26, 14, 172), (-36, 12, 168)],
    [9, 8.5, 8.5, 8.5, 9, 8],
    squash=(0.95, 1.15, 1.0),
)
PANCREAS = without(
    union(
        ellipsoid((29, 22, 76), (15, 14, 24), (0, -10, 0)),
        tube(
            [(22, 26, 88), (8, 32, 97), (-12, 34, 106), (-36, 28, 114), (-60, 8, 122), (-80, -14, 132)],
            [12, 9, 10.5, 10, 9.5, 8],
            squash=(1.0, 1.15, 0.85),
        ),
        blend=8,
    ),
    grown(PORTAL, 0.8),
    DUODENUM,
    blend=2,
)
GALLBLADDER = tube([(46, 34, 116), (56, 46, 102), (66, 58, 84), (70, 66, 68)], [4, 8, 14, 15])
RIGHT_ADRENAL = union(
    ellipsoid((37, -17, 130), (3.2, 10, 15), (-10, 8, -14)),
    ellipsoid((42, -27, 126), (3.0, 11, 14), (-10, 8, -32)),
    ellipsoid((34, -27, 126), (2.8, 9, 12), (-10, 8, 4)),
    blend=2,
)
LEFT_ADRENAL = union(
    ellipsoid((-33, -10, 126), (3.4, 10, 13), (0, -6, 16)),
    ellipsoid((-40, -22, 122), (3.0, 12, 15), (0, -6, 34)),
    ellipsoid((-31, -23, 122), (2.8, 11, 14), (0, -6, -6)),
    blend=2,
)
SPLEEN = without(
    common(ellipsoid((-100, -36, 140), (46, 56, 66), (14, -8, 20)), grown(UNDER_DIAPHRAGM, -4), blend=10),
    ellipsoid((-50, 14, 152), (50, 50, 84), (0, 0, -16)),
    grown(LEFT_KIDNEY_BODY, 4),
    blend=8,
)
FALCIFORM = common(ellipsoid((8, 62, 128), (2.6, 46, 42), (0, 0, -8)), plane((0, -1, 0), -28.0))
LIVER = without(
    boxed(
        common(
            grown(UNDER_DIAPHRAGM, -4),
            # the visceral surface rises from the right flank to the left lobe
            plane((-0.50, 0.12, -1.0), -108.0),
            plane((-1.0, 0.0, 0.25), 112.0),
            # the left lobe lies in front of stomach and esophagus
            plane((-0.62, -1.0, 0.0), -2.0),
            blend=24,
        ),
        (-85.0, -80.0, 15.0),
        (150.0, 105.0, 215.0),
    ),
    grown(RIGHT_KIDNEY_BODY, 5),
    ellipsoid((-8, -32, 140), (42, 46, 160)),
    grown(STOMACH, 3),
    FALCIFORM,
    ellipsoid((40, 24, 118), (24, 12, 20), (0, 25, 20)),
    blend=7,
)

ORGANS = {
    "liver": LIVER,
    "spleen": SPLEEN,
    "stomach": STOMACH,
    "pancreas": PANCREAS,
    "right kidney": RIGHT_KIDNEY,
    "left kidney": LEFT_KIDNEY,
    "right adrenal gland": RIGHT_ADRENAL,
    "left adrenal gland": LEFT_ADRENAL,
    "gallbladder": GALLBLADDER,
    "esophagus": ESOPHAGUS,
    "portal and splenic vein": PORTAL,
    "inferior vena cava": CAVA,
    "aorta": AORTA,
}
"""In the order in which they are painted: later ones cover earlier ones."""

NUMBERS = {name: number for number, name in LABELS.items()}
"""Name → label number."""
