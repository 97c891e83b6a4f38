"use strict";

// A classic script: it runs before the first paint, so that no page flashes in the other theme.
try { document.documentElement.dataset.theme = localStorage.getItem("theme") || "auto"; } catch { /* no storage */ }
