"""Checks of the readers' answers: one module a lesson, one function an exercise, each made safe by ``exercise``."""
