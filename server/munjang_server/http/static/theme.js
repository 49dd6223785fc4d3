// Sets the theme before anything is drawn: the one that was chosen here, else the system's.

(() => {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const set = () => {
    document.documentElement.dataset.theme = localStorage.getItem("munjang-theme") ?? (system.matches ? "dark" : "light");
  };
  set();
  system.addEventListener("change", set);
})();
