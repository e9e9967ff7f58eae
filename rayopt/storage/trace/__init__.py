"""The trace on disk and on its way there: rows, parts, writer, reader. Imports core and storage."""
