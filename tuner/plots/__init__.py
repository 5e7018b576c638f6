"""Views drawn with Matplotlib for papers and pull requests: one file a plot, a view in, a figure out.

Colours are Okabe and Ito's, told apart by the colour-blind; marks, hatches and a scale of even lightness tell the same
in grey. Only `canvas.py` imports Matplotlib, when something is drawn.
"""
