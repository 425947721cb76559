"""Words: how columns are named, and what people are called. Tables of data, and one way to ask a name whether it says something."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

Phrases = tuple[tuple[str, ...], ...]

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_a-zA-Z]+")
_GLUED = 5
"""Characters from which a phrase is also looked for at the ends of a name without separators, as in `homephone`."""


def words(text: str) -> frozenset[str]:
    """Words between spaces."""
    return frozenset(text.split())


def phrases(text: str) -> Phrases:
    """`phone, social security` as tuples of words, without accents and vowel signs."""
    return tuple(tuple(_unaccented(phrase).split()) for phrase in text.split(","))


def _unaccented(text: str) -> str:
    return text if text.isascii() else "".join(mark for mark in unicodedata.normalize("NFKD", text) if unicodedata.category(mark)[0] != "M")


ABOUT = words(
    """
    count cnt flag is has type kind status state verified valid enabled opt optin sent open opened click clicked bounced rate hash
    length format template domain provider policy source code expires expiry expired changed updated created version field label title
    group unit score
    """
)
"""Words that say that a column is about the thing and does not hold it, as in `email_verified`."""


def is_first_name(word: str) -> bool:
    """Whether a word is a common given name, however it is accented."""
    plain = word.casefold()
    if not plain.isascii():
        plain = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode()
    return plain in FIRST_NAMES


@dataclass(frozen=True, slots=True)
class ColumnName:
    """A column's name in words, lower case."""

    words: frozenset[str]
    glued: str

    @classmethod
    def of(cls, name: str) -> ColumnName:
        """Of `CandidatePhone2`: candidate, phone, 2."""
        found = [word.lower() for word in _WORD.findall(_unaccented(name))]
        return cls(frozenset(found), "".join(found))

    def says(self, wanted: Iterable[tuple[str, ...]]) -> bool:
        """Whether all words of any of the phrases are there, and none of the others says that the column is about the thing."""
        return any(self._has(phrase) and ABOUT.isdisjoint(self.words.difference(phrase)) for phrase in wanted)

    def _has(self, phrase: tuple[str, ...]) -> bool:
        if self.words.issuperset(phrase):
            return True
        joined = "".join(phrase)
        return len(joined) >= _GLUED and len(self.words) <= 2 and (self.glued.startswith(joined) or self.glued.endswith(joined))


PEOPLE = phrases(
    "people, persons, candidates, employees, patients, contacts, users, members, leads, customers, clients, staff, students, workers, "
    "recruiters, applicants, persons, tenants, donors, subscribers, guests, passengers, drivers, nurses, doctors, beneficiaries"
)
"""Datasets whose `name` is somebody's."""

PERSONS_ABROAD = phrases(
    """
    vorname, nachname, familienname, mädchenname, nombres, apellido, apellidos, primer apellido, nombre completo, nombre empleado,
    nome completo, sobrenome, apelido, prénom, nom famille, nom complet, nominativo, cognome, nome cognome, voornaam, achternaam,
    förnamn, efternamn, fornavn, efternavn, etternavn, etunimi, sukunimi, imię, nazwisko, jméno, příjmení, vezetéknév, keresztnév,
    prenume, soyad, soyadı, ad soyad, họ tên, nama lengkap, όνομα, επώνυμο, ονοματεπώνυμο, имя, фамилия, отчество, фио, полное имя,
    імʼя, ім'я, прізвище, име, презиме, фамилно име, الاسم, اسم, اسم العائلة, نام, نام خانوادگی, שם פרטי, שם משפחה, שם מלא,
    नाम, 姓名, 名字, 姓, 氏名, 名前, 苗字, 이름, 성명, 성함, ชื่อ, นามสกุล
    """  # noqa: RUF001 - other alphabets
)
"""How columns that hold names of persons are called elsewhere."""

MAYBE_ABROAD = phrases(
    """
    nombre, nome, nom, naam, namn, navn, nimi, név, nume, adı, tên, nama, mitarbeiter, ansprechpartner, empleado, empregado,
    funcionário, dipendente, employé, responsable, responsabile, kunde, klant, klient, cliente, client, сотрудник, клиент,
    менеджер, 员工, 客户
    """  # noqa: RUF001 - other alphabets
)
"""And those that may hold them or others, as `name` may."""

FIRST_NAMES = words(
    """
    aaron abigail adam adrian aiden alan albert alex alexander alexandra alexis alice alicia allison amanda amber amy andrea andrew
    angela anita ann anna anne anthony antonio arthur ashley aubrey austin ava barbara benjamin bernard beth bethany betty
    beverly bill bob bobby bradley brandon brandy brenda brent brett brian brittany bruce bryan caleb calvin cameron carl carla carlos
    carol caroline carolyn carrie casey cassandra catherine chad charles charlotte chelsea cheryl chloe chris christian christina
    christine christopher cindy claire clara clarence claudia cody colin colleen connie connor corey courtney craig crystal curtis
    cynthia daisy dale dana daniel danielle darlene darren david dawn dean deborah debra dennis derek diana diane dominic donald donna
    doris dorothy douglas drew dustin dylan earl eddie edward edwin eileen elaine eleanor elena elijah elizabeth ella ellen emily emma
    eric erica erik erin ernest ethan eugene eva evan evelyn felix fernando florence frances francis francisco frank franklin fred
    gabriel gabrielle gail gary gavin george gerald gina glen glenn gloria gordon grace graham grant greg gregory hailey hannah harold
    harry heather hector heidi helen henry holly howard hugh ian irene isaac isabel isabella ivan jack jackie jackson jacob jacqueline
    jaime jake james jamie jan jane janet janice jared jasmine jason javier jay jean jeff jeffery jeffrey jennifer jenny jeremiah
    jeremy jerome jerry jesse jessica jesus jill jim jimmy jo joan joanna joanne joe joel john johnny jon jonathan jordan jorge jose
    joseph joshua joy joyce juan judith judy julia julian julie justin kaitlyn karen karl katelyn katherine kathleen kathryn kathy
    katie kayla keith kelly kelsey ken kenneth kerry kevin kim kimberly kirsten krista kristen kristin kristina kristine kurt kyle
    lance larry latoya laura lauren laurie lawrence leah lee leon leonard leroy leslie levi lewis liam lillian linda lindsay lindsey
    lisa logan lois lori louis louise lucas lucy luis luke lydia lynn mackenzie madison manuel marc marcia marco marcus margaret maria
    mariah marie marilyn mario marion marissa mark martha martin marvin mary mason mathew matthew maurice max maxwell megan melanie
    melinda melissa melvin mercedes meredith mia michael michaela micheal michele michelle miguel mike mildred miranda misty mitchell
    molly monica morgan nancy natalie natasha nathan nathaniel neil nicholas nichole nicole nina noah noel nora norma norman olga
    olivia oscar owen pamela patricia patrick paul paula pedro peggy penny perry peter philip phillip phyllis rachel ralph ramon
    randall randy raul ray raymond rebecca regina renee rhonda ricardo richard rick ricky robert roberto robin rodney roger roland ron
    ronald rosa rose ross roy ruben ruby russell ruth ryan sabrina sally samantha samuel sandra sara sarah savannah scott sean
    sebastian sergio seth shane shannon sharon shaun shawn sheila shelby shelly sheri sherri sherry shirley sierra sofia sonia sophia
    sophie spencer stacey stacy stanley stella stephanie stephen steve steven stuart sue summer susan suzanne sydney sylvia tamara
    tammy tanya tara taylor teresa terrance terri terry theodore theresa thomas tiffany tim timothy tina todd tom tommy toni tonya
    tony tracey traci tracy travis trevor tricia tristan troy tyler valerie vanessa vernon veronica vicki victor victoria vincent
    virginia walter wanda warren wayne wendy wesley whitney william willie wyatt xavier yolanda yvonne zachary zoe ahmed ali amina
    anil anjali arjun chen deepak fatima hassan ibrahim karim kumar mei min mohamed mohammed muhammad omar priya raj rahul sanjay
    sunita wei yusuf alejandro ana carmen dolores enrique guadalupe ignacio josefina lucia pablo pilar rafael rosario santiago andreas
    bernd birgit claus dieter franz friedrich fritz gisela gunter hans heike heinrich heinz helga helmut horst ingrid jurgen katrin
    klaus lars manfred matthias monika olaf petra rainer renate sabine stefan stefanie susanne sven thorsten torsten ulrich ulrike
    ursula uwe wolfgang antoine camille celine chantal didier emilie francois guillaume isabelle jacques laurent luc marcel marguerite
    mathieu monique nathalie nicolas odette olivier pascal philippe pierre sylvie therese thierry valentine yves giovanni giulia
    giuseppe lorenzo luca marta paolo pietro roberta alessandro alberto alfonso alfredo amelia amparo angel antonia armando arturo
    beatriz belen blanca carmela cesar clemente concepcion consuelo cristina cristobal diego domingo eduardo elisa emilia emilio
    encarnacion esperanza esteban esther eugenia eusebio federico felipe fidel gerardo german gonzalo graciela gustavo hernan hilda
    ines iker inmaculada iris isidro javiera jimena joaquin josefa juana julio leticia lorena lourdes luisa macarena magdalena maite
    manuela marcelo marina mariano maribel martina mateo milagros miriam montserrat nieves nuria octavio oriol paloma paola pascual
    pastora patricio paz pio ramiro raquel remedios reyes rocio rodolfo rodrigo roman rosalia rosaura rufino salvador sancho saturnino
    sebastiana silvia sole soledad teofilo tomas trinidad valentin vicente violeta virgilio zacarias adele agathe agnes alain albane
    alexandre aline amelie anais andre anouk arnaud astrid aude aurelie aurore benoit bernadette bertrand brigitte capucine cecile
    cedric claude clemence clement colette corinne damien denis dominique edith elise elodie eloise emile emmanuel emmanuelle etienne
    fabien fabrice florian franck francoise frederic gaston genevieve georges gerard gilbert gilles gregoire guy helene henri honore
    hortense hugues jeanne jeannine joelle josette jules julien juliette leonie louane luce lucie lucien madeleine manon margot
    marianne marine marthe martine maryse mathilde maxime michel mireille nadine noemie oceane odile olivie pauline pierrette quentin
    raphael raymonde remy renaud romain rene sebastien simone solange stephane sylvain thibault timothee veronique victoire virginie
    yann yannick yvette achim adelheid adolf albrecht alfons alfred anke anneliese annemarie anton armin arnold axel babette
    barbel bastian beate benedikt benno bernhard berthold bettina bianca bjorn bodo boris bruno burkhard carsten christa christiane
    christoph constanze cornelia dagmar daniela detlef dietmar dietrich dirk dora doreen edeltraud edgar egon elfriede elke elmar else
    emil erhard erich erna ernst erwin eugen evelin fabian falk ferdinand frauke frieda friedhelm friedrun gabriele gerd gerhard
    gerlinde gertrud gottfried gudrun guido gustav hannelore hanna hanno hartmut hedwig heiko heiner henning henriette herbert hermann
    hilde hildegard holger hubert ilona ilse imke ina inge ingeborg ingo irma irmgard jana janina jens joachim johann johanna johannes
    jorg josef jutta kai karin karla karlheinz karsten kathrin katja kerstin konrad konstantin kornelia lena lothar ludwig luise lutz
    magda maik mareike margarete margrit marko markus marlene marlies mathias meinhard meike mirjam mirko nadja nils norbert oliver
    ortrud oskar otto philipp ralf reiner reinhard reinhold rolf roswitha rudi rudiger rudolf sascha siegfried siegrid silke sonja
    stephan susann sybille tanja theo thilo tobias torben traute ulf ulla ursel uta ute veit vera viktor viola volker volkmar waltraud
    werner wilfried wilhelm willi winfried wolf wolfram alessandra alessia antonella carlo chiara claudio daniele davide domenico
    enrico fabio federica filippo francesca francesco gianni giorgio giovanna ilaria luigi marcella massimo matteo maurizio nicola
    raffaele riccardo rita salvatore serena silvio simona stefania stefano tommaso umberto valentina valerio vincenzo agnieszka
    aleksandra andrzej ewa grzegorz jakub katarzyna krzysztof malgorzata marcin marek mateusz michal pawel piotr stanislaw tomasz
    wojciech zofia aleksandr alexei anastasia dmitri ekaterina igor irina maksim mikhail natalia nikolai oksana sergei svetlana
    tatiana vladimir yelena yuri akira haruka hiroshi kenji naoki sakura takashi yoko yuki jia jun li ling na ping qiang xiao yan ying
    yu zhang abdul aisha amir farah fatma hamza jamal khadija laila leila mustafa nadia nasser noor rania said salma samir yasmin
    zainab zara aarav aditi amit ananya ashok divya gaurav kavita kiran lakshmi manish meera neha nikhil pooja pradeep rakesh ravi
    rohit sandeep shreya suresh swati vijay vikram adaeze chidi chioma emeka kwame ngozi olu tunde anders freya hakan kari linnea
    magnus mikael ola per sigrid thor tove alfie archie barry callum carole clifford clive damian daphne declan denise duncan elliot
    fiona frederick freddie gareth gemma geoffrey georgia georgina gillian glenda graeme hamish hayley hilary hugo imogen isla ivor
    jade janette jayne jodie kieran kirsty lara leanne lorna lorraine lucinda lynda lynne maddison malcolm marian maureen mohammad
    muriel naomi nigel paige phoebe poppy reece rhys rosemary rosie rowan sadie sam sian simon stewart tess toby una vaughan verity
    vicky vivian winston adriana angelica antoinette brianna briana carly carolina cecilia charlene christy clay damon darrell darryl
    desiree edna elisabeth ernesto felicia harvey jeannette jermaine jodi johnathan katrina kendra kenny kirk krystal latasha lonnie
    mallory marlon mckenzie mindy nelson nikki pam patty preston priscilla rebekah ronnie shawna sonya stacie tabitha tasha ted
    terrence tyrone vickie wade wilson
    """
)
"""Common given names of the last century, without accents and months: enough to tell a column of people from one of places."""
