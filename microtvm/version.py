"""The package's version, alone in a file so that the build can read it without an import."""

VERSION = "0.1.0"
