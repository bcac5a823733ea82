"""What stands in place of every page until somebody is logged in, where a login (OIDC) is configured."""

from __future__ import annotations

import streamlit as st

from ragvision_app import login, state

_STYLE = """<style>
[data-testid="stMainBlockContainer"]:has(.st-key-rv_login) { padding-top: 16vh; }
.st-key-rv_login { max-width: 420px; margin: 0 auto; padding: 1.5rem; }
</style>"""


def ask_to_log_in() -> None:
    """Draws the login page and ends the script, unless somebody with a usable name is logged in."""
    if not login.is_configured() or state.login_name() is not None:
        return
    st.html(_STYLE)
    with st.container(key="rv_login", border=True):
        st.subheader("Who labels?", anchor=False)
        if st.user.is_logged_in:
            st.warning(
                "Your login holds neither an e-mail address nor a name, so no decision could be stored under it."
            )
            st.button("Log out", on_click=st.logout)
        else:
            st.caption("Log in: every decision is stored under the name of your login.")
            choices: list[str | None] = [*login.providers()] or [None]
            for provider in choices:
                label = "Log in" if provider is None else f"Log in with {provider.capitalize()}"
                st.button(label, type="primary", key=f"login_{provider}", on_click=st.login, args=[provider])
    st.stop()


def draw_login_name() -> None:
    """In the sidebar: who is logged in, and the way out."""
    name = state.login_name()
    if name is not None:
        with st.container(gap="xxsmall"):
            st.text(name, help="Your login: decisions are stored under this name.")
            st.button("Log out", type="tertiary", on_click=st.logout)
