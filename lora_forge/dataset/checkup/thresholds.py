"""Every limit of the checkup, with the measurement or the source it comes from.

"Planted" is tests/dataset/checkup/test_planted.py, which prints what each finding gets right.
"""

from __future__ import annotations

# How many photos a kind wants: too few for anything, fewer than advised, advised up to. The tutorial this tool follows
# and the trainers compared in its design advise 20-30 for a person; styles bring more.
COUNTS = {"person": (8, 20, 30), "anime": (8, 20, 40), "style": (15, 30, 100), "object": (6, 15, 30)}
COUNT_OTHER = (8, 20, 50)

# Sides of a photo relative to the training square of equal area. Up to a tenth of enlargement is not seen.
ENLARGED_FROM = 0.9
ENLARGED_FAR = 0.6

# Blur: variance of the Laplacian where the picture's area is 512 x 512 (never enlarged), over the variance of the grey
# values there. Two real faces: sharp 0.29 and 0.34; Gaussian sigma 1 px 0.026 and 0.030, 1.5 px 0.009 and 0.010,
# 2 px 0.005.
BLUR_WORK_PX = 512
FACE_SHARPNESS_LEAST = 0.012
# Without a face the 4th sharpest of 4 x 4 tiles counts, so that sky and a soft background do not; it is scaled to a
# contrast of 50 grey levels. 13 photographs: sharp 88 and more, sigma 2 px 32 and less.
TILE_SHARPNESS_LEAST = 40.0

# Both must hold. Bits of 64 in which perceptual hashes differ: JPEG, half size, brightness 0-4, turned by 3 degrees
# 4-12, 5 % cropped away 10-16. Correlation of 8 x 8 colours: the same 0.90 and more, others as like in outline 0.83
# and less: two portraits of like composition differ in as few as 8 bits.
DUPLICATE_BITS = 14
DUPLICATE_COLOURS = 0.9

# A second face counts from a third of the main one's height: smaller ones are passers-by.
SECOND_FACE_SHARE = 1 / 9
# Height of the face at training size: below 5 cells of the VAE's 8 px a face is learned as a smudge.
FACE_LEAST_PX = 40
# Part of the face box beyond or at the border that counts as cut.
CUT_MARGIN = 0.02

# Cosine of a face's embedding with the mean of the others'. ArcFace models verify pairs of photos at 0.2-0.35; a mean
# of several is closer to its own than a single photo is. Not measured here with a real pack: none may be bundled.
SAME_PERSON_LEAST = 0.3
STRANGER_FACES_LEAST = 4  # of fewer, nobody can say who the stranger is

# Degrees of yaw. Portrait practice calls 45 three-quarter and 90 profile; landmarks end near 60-70 for a profile.
FRONT_MOST = 20.0
PROFILE_LEAST = 55.0
# Height of the face in that of the picture. A body is 7.5 heads high, a face (brow to chin and a little more) 3/4 of a
# head: full body 0.10, waist up 0.20, head and shoulders 0.42; the limits are the geometric means.
HALF_LEAST = 0.14
CLOSE_LEAST = 0.29
VIEWS_FROM = 5  # photos with a face before views and framings are counted

# Likeness of two colour distributions, 0 to 1 (Bhattacharyya): the same clothes or room under other light above it.
SAME_COLOURS_LEAST = 0.75
ALIKE_FROM = 5  # photos before one outfit or background can dominate
DOMINATES = 0.5
DOMINATES_FAR = 0.8

# Letters in one line; 22 photographs without writing have none, writing over them has 5 to 20 a line.
LETTERS_LEAST = 5
# Longer to shorter side: WebUIs draw up to about 2 without doubling the subject.
ASPECT_MOST = 2.0
# Spread of the colours around one tint, in grey levels: planted colour photographs 19 and more, grey and sepia up
# to 6.5.
COLOURS_LEAST = 10.0
# Shares of the photos from which a yellow light turns red.
MANY = 0.34
