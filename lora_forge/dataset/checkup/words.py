"""What each finding says: when all is well, when it is not, and why it matters."""

from __future__ import annotations

from dataclasses import dataclass

from lora_forge.i18n import word


@dataclass(frozen=True)
class Words:
    """Templates; ``bad`` has a place for ``{count}`` photos."""

    good: str
    bad: str
    why: str


WORDS = {
    "broken": Words(
        word("Every photo can be read."),
        word("Photos that can't be read: {count}"),
        word("They are left out of the training; copy them again from where they came."),
    ),
    "resolution": Words(
        word("Every photo is large enough for {resolution} px."),
        word("Photos too small for {resolution} px: {count}"),
        word("A photo that must be enlarged teaches the LoRA blur; the smallest here fills {side} px."),
    ),
    "blur": Words(
        word("Every photo is sharp."),
        word("Blurred photos: {count}"),
        word("The LoRA learns blur as part of the subject, and draws it that way."),
    ),
    "duplicates": Words(
        word("No photo is there twice."),
        word("Photos that nearly repeat another: {count}"),
        word("What is there several times is learned several times as hard, and drawn again as a copy."),
    ),
    "no_face": Words(
        word("Every photo shows a face."),
        word("Photos in which no face was found: {count}"),
        word("The back of a head teaches no likeness. Mark the face if there is one, or leave the photo out."),
    ),
    "many_faces": Words(
        word("No photo shows several faces."),
        word("Photos with several faces: {count}"),
        word("The LoRA can't know which of them is meant, and mixes them."),
    ),
    "stranger": Words(
        word("All faces look like the same person."),
        word("Photos that seem to show somebody else: {count}"),
        word("One stranger blurs the likeness of all the others. Least like the rest: {lowest}; usual here: {usual}."),
    ),
    "small_face": Words(
        word("Every face is large enough."),
        word("Photos with a very small face: {count}"),
        word("At {resolution} px such a face is under {least_px} px high, too few for the model to see its features."),
    ),
    "cut_face": Words(
        word("No face is cut off."),
        word("Photos in which the face is cut off at the edge: {count}"),
        word("The LoRA learns to cut faces off in the same place."),
    ),
    "text": Words(
        word("No writing or watermark was found."),
        word("Photos with writing or a watermark: {count}"),
        word("Writing is learned like everything else and comes back as scribble. Crop it away, or tag it."),
    ),
    "aspect": Words(
        word("No photo is extremely long or wide."),
        word("Photos more than twice as long as wide: {count}"),
        word("Much of them is cut away to fit the training size, or the subject becomes small. Crop them by hand."),
    ),
    "grey": Words(
        word("Every photo is in colour."),
        word("Photos without colour among coloured ones: {count}"),
        word("The LoRA then draws grey pictures now and then. Leave them out, or tag them as monochrome."),
    ),
}

COUNT_GOOD = word("{count} photos: a good number for this type.")
COUNT_FEW = word("{count} photos: few for this type.")
COUNT_NONE = word("{count} photos: too few to learn from.")
COUNT_MANY = word("{count} photos: more than this type needs.")
COUNT_WHY = word("{least} to {most} good photos from many sides are advised; ten good ones beat fifty mixed ones.")
COUNT_MANY_WHY = word(
    "{least} to {most} photos are advised. More is no harm when all are good; the best ones alone are quicker."
)

VIEWS = {"front": word("from the front"), "three_quarter": word("half turned"), "profile": word("in profile")}
FRAMINGS = {"close": word("close-up"), "half": word("half-length"), "full": word("full-length")}
ANGLES_GOOD = word("The head is shown from all sides: {counts}.")
ANGLES_BAD = word("Missing views of the head: {missing}")
ANGLES_WHY = word("What no photo shows the LoRA has to guess. Now there are: {counts}.")
FRAMING_GOOD = word("There are close and far photos: {counts}.")
FRAMING_BAD = word("Missing distances: {missing}")
FRAMING_WHY = word("From close-ups alone no body is learned, from far ones no face. Now there are: {counts}.")
COUNTED = word("{what} {count}")

OUTFIT_GOOD = word("The clothes vary.")
OUTFIT_BAD = word("The same clothes in {count} of {total} photos")
OUTFIT_WHY = word(
    "Clothes that hardly change become part of the person, and no prompt changes them. Add other outfits."
)
BACKGROUND_GOOD = word("The backgrounds vary.")
BACKGROUND_BAD = word("The same background in {count} of {total} photos")
BACKGROUND_WHY = word(
    "A background that hardly changes is learned with the subject. Add other places, and tag the background."
)
TAGGED = word("{why} Most used tag: {tag}.")

FLIP_OFF = word("Mirroring should stay off for this type.")
FLIP_ON = word("Mirroring may be on for this type.")
FLIP_TEXT = word("Mirroring should be off: {count} photos show writing")
FLIP_WHY_FACE = word("Faces are not symmetric: moles, partings and scars would change sides.")
FLIP_WHY_TEXT = word("Writing would be learned the wrong way round too.")
FLIP_WHY_ON = word("It doubles the photos at no cost where left and right do not matter.")

UNJUDGED = {
    "no_face": word("Faces were not looked for."),
    "many_faces": word("Faces were not counted."),
    "small_face": word("The size of the faces was not judged."),
    "cut_face": word("Cut-off faces were not looked for."),
    "stranger": word("Whether all photos show the same person was not judged."),
    "angles": word("The views of the head were not judged."),
    "framing": word("The distances were not judged."),
    "outfit": word("The clothes were not judged."),
    "background": word("The backgrounds were not judged."),
    "text": word("Writing was not looked for."),
}
NOT_FOR_KIND = word("It does not matter for this type.")
TOO_FEW = word("Too few photos show what it takes: {count}.")
NO_SCIPY = word("The library SciPy is not installed.")
