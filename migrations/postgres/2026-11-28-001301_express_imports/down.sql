DROP TABLE express_imports;
