"""Streamlit's entry: page settings, the page list and the sidebar. A new page is one line here."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
if str(HERE.parent) not in sys.path:  # `core` and `ragvision_app` are importable however this script was started
    sys.path.insert(0, str(HERE.parent))

import streamlit as st  # noqa: E402

from ragvision_app import __version__, login, state  # noqa: E402
from ragvision_app.access import Scope  # noqa: E402
from ragvision_app.components.login_view import ask_to_log_in  # noqa: E402
from ragvision_app.sidebar import draw_sidebar  # noqa: E402

ICON = str(HERE / "icon.svg")  # a file of ours: Streamlit's own icons for the tab come from another server

# The header lies over the first line of the page, whose ends keep clear of its buttons (--rv-lead, --rv-trail).
STYLE = """<style>
.stApp { --rv-lead: 0px; --rv-trail: 2.5rem; font-variant-numeric: tabular-nums; }
.stApp:has([data-testid="stExpandSidebarButton"]) { --rv-lead: 5.25rem; }
header[data-testid="stHeader"] { height: 3rem; min-height: 3rem; background: transparent; pointer-events: none; }
header[data-testid="stHeader"] button { pointer-events: auto; }
[data-testid="stHeader"] button, [data-testid="stSidebarCollapseButton"] button { min-width: 32px; min-height: 32px; }
[data-testid="stSidebarNavLink"] { min-height: 32px; }
button[kind^="primary"]:not(:disabled) { color: light-dark(#ffffff, #14171c); }
[data-testid="stStatusWidget"]:has(button) { display: none; }
[data-testid="stCaptionContainer"] { color: light-dark(#5c6370, #a3abb8); opacity: 1; }
</style>"""


def start() -> None:
    """The address without a page. Label itself cannot be the default: ``/label`` would not open it then."""
    st.switch_page("../pages/label.py", query_params=st.query_params.to_dict())


st.set_page_config(
    page_title="RAG Vision Workbench",
    page_icon=ICON,
    layout="wide",
    initial_sidebar_state=232,
    # an entry of ours brings the menu, and with it the choice of the theme
    menu_items={"About": f"RAG Vision Workbench {__version__}. The HTTP API is described at [/api/docs](/api/docs)."},
)
st.html(STYLE)
st.logo(str(HERE / "logo.svg"), icon_image=ICON)
PAGES = [
    st.Page(start, title="RAG Vision Workbench", default=True, visibility="hidden"),
    st.Page("../pages/label.py", title="Label", icon=":material/label:", url_path="label"),
    st.Page("../pages/support.py", title="Support", icon=":material/photo_library:", url_path="support"),
    st.Page("../pages/images.py", title="Images", icon=":material/add_photo_alternate:", url_path="images"),
    st.Page("../pages/runs.py", title="Runs", icon=":material/history:", url_path="runs"),
    st.Page("../pages/export.py", title="Export", icon=":material/download:", url_path="export"),
    st.Page("../pages/prompts.py", title="Prompts", icon=":material/chat:", url_path="prompts"),
    st.Page("../pages/settings.py", title="Settings", icon=":material/tune:", url_path="settings"),
]
FOR_LABELLING = 2  # the first pages are all that a token of the scope label opens: the others change the project

anonymous = login.is_configured() and state.login_name() is None
page = st.navigation(
    PAGES if state.session_scope() is Scope.ADMIN else PAGES[:FOR_LABELLING],
    position="hidden" if anonymous else "sidebar",
)
ask_to_log_in()
if page.url_path:  # not on the way from the start to Label
    draw_sidebar()
page.run()
