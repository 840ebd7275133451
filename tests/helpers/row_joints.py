"""The schedules of the earlier rows of Table 1 where they change their form, as their sources have them."""

# (epoch, rate, mini-batch), as the comments' sources have them; no rate: not checked
JOINTS = {
    # arXiv:1706.02677, sections 2.2 and 5.1: 0.1 to 3.2 in five epochs, a tenth at 30, 60 and 80 (recalled)
    "goyal_b8192_g256": [(0, 0.1, 8192), (2.5, 1.648, 8192), (5, 3.2, 8192), (29.9, 3.2, 8192), (30, 0.32, 8192),
                         (60, 0.032, 8192), (80, 0.0032, 8192)],
    # arXiv:1711.00489: rate / batch as above (recalled); 0.64 / 16,384 = 0.32 / 8,192
    "smith_b8192_g256": [(0, 0.1, 8192), (29.9, 3.2, 8192), (30, 0.64, 16384), (60, 0.064, 16384),
                         (80, 0.0064, 16384)],
    # crest-deep/dlframeworks, rmsprop_warmup.py: 12.8 times 0.5, 0.075, 0.01 and 0.001 from epochs 0, 40, 70 and 85
    "akiba_b32768_g1024": [(0, 6.4, 32768), (39.9, 6.4, 32768), (40, 0.96, 32768), (70, 0.128, 32768),
                           (85, 0.0128, 32768)],
    # MLPerf v0.7, Google, at 65,536: peak 23.081 after 33 epochs, power 2 to 0.0001; a quarter half-way down
    "jia_b65536_g2048": [(33, 23.0810, 65536), (61.5, 5.77032, 65536), (90, 0.0001, 65536)],
    "ying_b65536_g2048": [(33, 23.0810, 65536), (61.5, 5.77032, 65536), (90, 0.0001, 65536)],
    # MLPerf v1.0, Google, at 55,296: peak 25.67 after 29 epochs, power 2 to 0.0001; batches recalled
    "mikami_b34560_g3456": [(28.9, None, 34560), (30, None, 55296), (90, 0.0001, 55296)],
}  # fmt: skip
