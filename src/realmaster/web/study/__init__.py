"""A user study: pairs of videos beside their original, questions about them, people's answers, and what they say.

`settings` is what an experimenter writes; `clips` and `prepare` make the videos; `plan` decides who sees what; `store`
keeps everything in one SQLite file; `server` and `assets/` are the site; `people`, `rates`, `strengths`, `agreement`
and `results` turn answers into figures; `rehearsal` walks scripted people through a copy of a study.
"""
