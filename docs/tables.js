// A table that is wider than the page can be scrolled; with the keyboard only if it can have the focus.
document$.subscribe(() => {
  requestAnimationFrame(() => {
    for (const frame of document.querySelectorAll(".md-typeset__scrollwrap")) {
      if (frame.scrollWidth > frame.clientWidth) {
        frame.tabIndex = 0;
        frame.setAttribute("role", "region");
        frame.setAttribute("aria-label", "Table");
      }
    }
  });
});
