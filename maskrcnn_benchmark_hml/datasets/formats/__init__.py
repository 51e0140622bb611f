"""Foreign annotation formats: one file each, from its source to a stream of images, and back where it can.

A format gives a :class:`~.source.Source`; :func:`~.source.write_source` makes the dataset folder of it. Nothing
vanishes without a count: see :class:`~.tally.Tally`. Ids are compared as text: :func:`~.source.id_text`. A new format
is registered in ``table.py``.
"""
