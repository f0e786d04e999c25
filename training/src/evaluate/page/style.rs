//! The style sheet of the page, in light and dark.

/// Colours of series `s0` to `s5` are told apart by people with any colour vision (after Okabe and Ito).
pub(super) const SHEET: &str = "\
:root{--ink:#1b1f24;--paper:#fff;--faint:#d8dde3;--c0:#0072b2;--c1:#d55e00;--c2:#009e73;--c3:#cc79a7;--c4:#b58900;--c5:#6b7280}\
@media(prefers-color-scheme:dark){:root{--ink:#e6e8eb;--paper:#16181c;--faint:#3a3f46;--c0:#56b4e9;--c1:#f0883e;--c2:#2fc79a;--c3:#e29ac4;--c4:#e6c34a;--c5:#a3a9b3}}\
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}\
main{max-width:1040px;margin:0 auto;padding:1.5rem}\
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}h3{font-size:1rem;margin:0 0 .4rem}\
.notice{border-left:4px solid var(--c1);padding:.3rem .8rem}\
.wide{overflow-x:auto}table{border-collapse:collapse}\
th,td{text-align:left;padding:.2rem .7rem;border-bottom:1px solid var(--faint);font-variant-numeric:tabular-nums}\
.confusion td{text-align:right;background:color-mix(in srgb,var(--c0) var(--share),var(--paper))}\
.figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(400px,1fr));gap:1.5rem}\
figure{margin:0;min-width:0}figcaption{font-size:.85rem;opacity:.8}\
svg{width:100%;height:auto}svg text{fill:var(--ink);font-size:11px}svg .label{font-size:12px}\
path{fill:none;stroke-width:1.8}.grid{stroke:var(--faint);stroke-width:1}\
.diagonal,.level{stroke:var(--c5);stroke-dasharray:5 4;stroke-width:1.2}\
.s0{stroke:var(--c0)}.s1{stroke:var(--c1)}.s2{stroke:var(--c2)}.s3{stroke:var(--c3)}.s4{stroke:var(--c4)}.s5{stroke:var(--c5)}\
circle{fill:var(--paper)}circle.faint{fill:var(--c0);fill-opacity:.25;stroke:none}.whisker{stroke-width:1}\
.band{fill:var(--c0);fill-opacity:.18;stroke:none}\
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.2rem 1rem;margin:.2rem 0;padding:0;font-size:.85rem}\
.key{display:inline-block;width:1.2rem;margin-right:.35rem;vertical-align:middle}.line{border-top:3px solid}.area{height:.8rem;background:currentColor;opacity:.2}\
.k0{color:var(--c0)}.k1{color:var(--c1)}.k2{color:var(--c2)}.k3{color:var(--c3)}.k4{color:var(--c4)}.k5{color:var(--c5)}";
