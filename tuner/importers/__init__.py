"""Other tools' sweep files and studies, translated into ours."""
