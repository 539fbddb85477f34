"""The report of a study: one self-contained page."""

from secateur.report.page import write_report

__all__ = ["write_report"]
