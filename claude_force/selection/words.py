"""Words that say little or nothing of what a task is about, and words that are more than a stem with an ending."""

from __future__ import annotations

_STOP = """
a about above after again all also am an and any are as at back be because been before being between both but by
came can cant could did do does doesnt doing done dont each either else etc even ever every few find for found from
further get gets getting give given go goes going got had has have having he her here hers him his how i id if ill im in
into is isnt it its ive just know let lets like ll lot make makes many may maybe me might mine more most much must my
need needs no nor not now of off on once one only or other our ours out over own please pls re really s same say
says see shall she should so some somebody someone something still stuff such sure t take tell than thanks that the
their them then there these they thing things this those though through to too try two under until us use used
up upon down onto using ve very want wants was we were what whats when where whether which while who whom whose why
will with within without wont would yes yet you your yours
attached below help look please code file files long short new old good better best bad big small free day days week
weeks year years time times today
aber als auch auf aus bei bin bis bitte da das dass dem den der des die diese dieser doch du durch ein eine einem
einen einer eines er es für hat hier ich ihr im ist ja kann kein keine können man mein meine mich mir mit muss nach
nicht noch nur ob oder ohne sein sich sie sind über um und uns unser unsere unserem unseren unter vom von vor war was
weil welche wenn wer wie wir wird wo zu zum zur
au aux avec ce ces cet cette dans de du elle en est et il ils je la le les leur ma mes mon ne nos notre nous où
par pas pour quel quelle qui se ses son sont sur un une vos votre vous
al como con cual de del el ella en es esta este están hay la las lo los me mi mis no nos para pero por que qué se si
sin son su sus te tengo un una unas unos y ya
"""
STOP = frozenset(_STOP.split())
"""Words that say nothing, in English, German, French and Spanish; a phrase may hold them."""

_WEAK = """
able account accounts actually add added adding adds against allow allows almost along already always amount another
answer answers anyone anything app application apps area around ask asked asks available away base based basic become
begin begins begun behind bigger bit boss bring brings build builds call called caller callers calling calls case
cases cause causes change changed changes changing check checks client clients close closed colleague come comes
common company complete completed contain contains content contents count counts create created creates current
currently customer customers daily data date delete description detail details different direct double during earlier
early easy eight end ends enough entire evening everybody everyone everything exact exactly example examples explain
explains external field fields fine finished firm first five fix following four friday full general gives global gone
great guy guys half handle handles happen happened happens hard high higher hold holds hour hours huge hundred
impossible include included includes increase info information input inside internal issue issues item items keep
keeps kept key kind known knows large last late later leave leaves left level likes line lines list little local lots
low lower main making manager mean means million minute minutes monday month months morning move moved moves multiple
name named names nearly needed never newer next nice night nine nobody normal nothing number numbers object objects
office often ok okay older open opened opens option options order orders others output outside page part parts people
per person place places point points possible previous private probably problem problems product products project
provide provides public put puts question ran read reading reads ready real record records reduce remote remove
removed removes replace require required requires result results return returns right run running runs said saturday
second seconds server servers set sets seven several show shown shows side similar simple since single six smaller
soon sort special specific standard start started step sunday support supports system systems taken takes team teams
tells ten term terms text think third thought thousand three thursday till tiny title told tomorrow tonight took total
tried tries tuesday turn turns type types user users uses usually value values version via view wanted way ways
wednesday went whole woman word words work worked working works worse worst write wrong yesterday young
"""
WEAK = frozenset(_WEAK.split())
"""Words that are in tasks of all kinds, and say little."""

_WHOLE = """
argument arguments broker brokers browser charge computer container counter customer docker driver filter folder
footer generator header layer letter matter number order paper parser pointer processor runner server worker workers
theme user users
"""
WHOLE = frozenset(_WHOLE.split())
"""Words whose ending is their own: a server does not serve, and a broker is not broken."""
