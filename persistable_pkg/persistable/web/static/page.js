// Behaviour of the page beside htmx: the token leaves the address bar, and digests are copied.
(() => {
  const here = new URL(location.href);
  if (here.searchParams.has("token")) {
    here.searchParams.delete("token");
    history.replaceState(history.state, "", here);
  }
  const copy = async (text, from) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      getSelection().selectAllChildren(from); // to be copied by hand
      return;
    }
    document.getElementById("said").textContent = `copied ${text}`;
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    const digest = event.target.closest(".p-digest");
    if (button) copy(button.dataset.copy, button);
    else if (digest) copy(digest.title, digest);
  });
})();
