"""The scenes of the demo corpus: each function paints one kind of picture.

A scene takes a `Job` and returns a picture of exactly `job.size`. It draws what makes a template
(frame, palette, arrangement) from `job.layout`, and what fills it (figures, words, pictures) from
`job.content`, so that two jobs with one layout and two contents are each other's hard negatives.
"""
