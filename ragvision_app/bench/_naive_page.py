"""What one would write first: the current image, a button with a key, and a commit a click.

A Streamlit script, run by the bench: ``NAIVE_IMAGES`` is a folder, ``NAIVE_STORE`` an SQLite file.
"""

import os
import sqlite3
from pathlib import Path

import streamlit as st

images = sorted(Path(os.environ["NAIVE_IMAGES"]).iterdir())
st.session_state.setdefault("at", 0)


def accept() -> None:
    """Stores the decision on the image on screen and goes on."""
    with sqlite3.connect(os.environ["NAIVE_STORE"]) as db:
        db.execute("PRAGMA synchronous=FULL")
        db.execute("CREATE TABLE IF NOT EXISTS decisions (image TEXT, class INTEGER)")
        db.execute("INSERT INTO decisions VALUES (?, 1)", (images[st.session_state.at].name,))
    db.close()
    st.session_state.at = min(st.session_state.at + 1, len(images) - 1)


st.image(str(images[st.session_state.at]), width=600)
st.button("Accept", shortcut="a", on_click=accept)
st.write(f"{st.session_state.at} of {len(images)}")
