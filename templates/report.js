"use strict";

// The command: a button that copies it, where the browser lets it.
const button = document.getElementById("copy");
if (button && navigator.clipboard) {
  button.hidden = false;
  button.addEventListener("click", () => {
    navigator.clipboard.writeText(document.getElementById("command").textContent).then(
      () => { button.textContent = "Copied"; },
      () => { button.textContent = "Not allowed here"; },
    );
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
}
