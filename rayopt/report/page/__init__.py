"""The page of a run: one self-contained HTML file that opens offline."""

from rayopt.report.page.page import PAGE, page_of, write_page

__all__ = ["PAGE", "page_of", "write_page"]
