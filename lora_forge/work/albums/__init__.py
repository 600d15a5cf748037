"""Albums: the generalisation test of one LoRA, a picture a scene, kept in PROJECT/albums/ID/.

:mod:`request` what is asked for, :mod:`store` what is on the disk, :mod:`drawing` the job, :mod:`told` what a page and
the shareable picture show.
"""
