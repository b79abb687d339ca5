"""Titles of Wikipedia's pages as words: without namespace and bracketed suffix. Knows no file."""

import polars as pl

# Names of namespaces, as the wikis write them, by language (MediaWiki's languages/messages and the wikis' own). Talk
# and user pages have no links to other languages.
_NAMESPACES = """
Category Template Help Portal File Image Module Draft Book Wikipedia Project
Kategorie Vorlage Hilfe Datei Bild Modul
Catégorie Modèle Aide Portail Fichier Projet Wikipédia
Categoría Plantilla Ayuda Archivo Módulo Anexo Wikiproyecto
Categoria Predefinição Ajuda Ficheiro Livro
Aiuto Portale Modulo Progetto
Categorie Sjabloon Portaal Bestand
Kategoria Szablon Pomoc Plik Moduł Wikiprojekt
Категория Шаблон Справка Портал Файл Модуль Википедия Проект
Категорія Довідка Вікіпедія
Помощ Модул Уикипедия
Šablona Nápověda Portál Soubor Wikipedie
Kategori Mall Hjälp Fil Skabelon Hjælp Mal Hjelp
Luokka Malline Ohje Teemasivu Tiedosto Moduuli
Kategória Sablon Segítség Fájl
Şablon Yardım Dosya Modül Vikipedi
Format Ajutor Fișier
Templat Bantuan Berkas
Thể_loại Bản_mẫu Trợ_giúp Cổng_thông_tin Tập_tin Mô_đun
Fitxer Mòdul Viquipèdia
Κατηγορία Πρότυπο Βοήθεια Πύλη Αρχείο Βικιπαίδεια
カテゴリ テンプレート ヘルプ ファイル モジュール ポータル
分类 分類 模板 帮助 幫助 文件 檔案 模块 模組 维基百科 維基百科
분류 틀 도움말 포털 파일 모듈 위키백과
تصنيف قالب مساعدة بوابة ملف وحدة ويكيبيديا
رده الگو راهنما درگاه پرونده پودمان ویکی‌پدیا
קטגוריה תבנית עזרה פורטל קובץ יחידה ויקיפדיה
श्रेणी साँचा सहायता प्रवेशद्वार चित्र मॉड्यूल विकिपीडिया
বিষয়শ্রেণী টেমপ্লেট সাহায্য প্রবেশদ্বার চিত্র মডিউল উইকিপিডিয়া
หมวดหมู่ แม่แบบ วิธีใช้ สถานีย่อย ไฟล์ มอดูล วิกิพีเดีย
"""

# What stands in the brackets behind the title of a page that only lists meanings, by language.
_DISAMBIGUATIONS = """
disambiguation
Begriffsklärung
homonymie
disambigua
doorverwijspagina disambigueren
desambiguación
desambiguação
desambiguació
homónimos
argipena
ujednoznacznienie
значения многозначность
значення
значэнні
пояснение
појаснување
вишезначна_одредница
rozcestník
rozlišovacia_stránka
razločitev
razdvojba
višeznačna_odrednica
olika_betydelser
flertydig andre_betydninger
andre_betydninger
täsmennyssivu
egyértelműsítő_lap
anlam_ayrımı
dezambiguizare
disambiguasi
định_hướng
nyahkekaburan
reikšmės
nozīmju_atdalīšana
täpsustus
apartigilo
discretiva
aðgreining
αποσαφήνιση
kthjellim
բազմիմաստություն
მრავალმნიშვნელოვანი
فەرەگرانە
توضيح
ابهام‌زدایی
ضد_ابہام
פירושונים
曖昧さ回避
消歧义 消歧義 消歧義頁 消歧义页
동음이의 동명이인
बहुविकल्पी
দ্ব্যর্থতা_নিরসন
แก้ความกำกวม
"""


def _words(table: str) -> str:
    """An alternative of the table's words, as a regular expression."""
    words = sorted({word.replace("_", " ") for word in table.split()})
    return "|".join(words)


_NAMESPACE = rf"^(?i:{_words(_NAMESPACES)}):(\S)"  # MediaWiki writes no space there: "Portal: Still Alive" is a title
# One pair of brackets may stand within: "Foo (album (1999))".
_SUFFIX = r"\s*(?:\((?:[^()]|\([^()]*\))*\)|（(?:[^（）]|（[^（）]*）)*）)$"
_DISAMBIGUATION = rf"[(（](?i:{_words(_DISAMBIGUATIONS)})[)）]$"


def is_disambiguation(title: pl.Expr) -> pl.Expr:
    """Whether the bracketed suffix says that the page lists meanings; titles with blanks, not underscores."""
    return title.str.contains(_DISAMBIGUATION)


def cut_title(title: pl.Expr) -> pl.Expr:
    """The title without a namespace and bracketed suffixes: "Portal:Mercury (planet)" is "Mercury"; may be empty."""
    bare = title.str.replace(_NAMESPACE, "$1")
    return bare.str.replace(_SUFFIX, "").str.replace(_SUFFIX, "").str.strip_chars()
