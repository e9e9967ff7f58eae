"""Methods whose workers send compressed messages. Imports methods.base and compression."""
